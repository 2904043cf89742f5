"""German and Swedish ECG reports into English by a curated glossary; `ecgrepro.translate` is the front door."""
