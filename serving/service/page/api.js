// The service over HTTP. The key lives in this tab and no longer.

const KEY = "ticklake.key";

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (words) => (words ? sessionStorage.setItem(KEY, words) : sessionStorage.removeItem(KEY)),
};

export class Refused extends Error {
  constructor(status, said) {
    super(`${said.thing} ${said.fault}: ${said.remedy}`);
    this.status = status;
  }
}

export async function call(method, path, body) {
  const headers = {};
  if (key.get()) headers.Authorization = `Bearer ${key.get()}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, {
    method, headers, body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(10000),
  });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    throw new Refused(answer.status, said.error ?? { thing: "service", fault: `says ${answer.status}`, remedy: "see its log" });
  }
  return said;
}
