"""All traffic of a worker: paid and free requests, downloads, the spool and the bucket."""
