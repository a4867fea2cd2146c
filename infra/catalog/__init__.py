"""The data catalog: contracts and live facts as a site of plain files."""
