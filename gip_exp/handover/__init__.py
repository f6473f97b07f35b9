"""The selected rows as files that trainers read: `export=[hf,trl,llamafactory,axolotl]`."""
