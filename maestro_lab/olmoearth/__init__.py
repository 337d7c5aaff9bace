"""From cubes to OlmoEarth: slots of a month, maps to predict, crops to learn from."""
