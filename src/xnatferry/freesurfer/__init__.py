"""What FreeSurfer writes as text: statistics, volumes, versions. Pure: bytes in, values out."""
