"""What spreadsheets of every format share: how a value is shown, and which cells of a sheet are a table."""
