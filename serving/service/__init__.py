"""What people and programs ask over HTTP and WebSocket, and the page that shows it."""
