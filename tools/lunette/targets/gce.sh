#!/bin/sh
# {{name}} on Google Compute Engine: ./create.sh BUCKET. What it says is on serial port 1.
set -e
cd "$(dirname "$0")"
bucket=${1:?the name of a bucket}
gcloud storage cp {{disk}} "gs://$bucket/{{name}}.tar.gz"
gcloud compute images create {{name}} --source-uri "gs://$bucket/{{name}}.tar.gz" --guest-os-features VIRTIO_SCSI_MULTIQUEUE
gcloud compute instances create {{name}} --image {{name}} --machine-type "${MACHINE:-e2-micro}"
gcloud compute instances get-serial-port-output {{name}}
