"""What the slices stand on: database, data folder, confinement, signing service, durable jobs."""
