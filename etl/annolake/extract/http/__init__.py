"""HTTP: one request at a time, repeated until it is answered or refused. The only room with httpx and tenacity."""
