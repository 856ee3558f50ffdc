"""What OpenDocument texts, spreadsheets and presentations share: their XML, and its words."""
