return {'ok', position}
