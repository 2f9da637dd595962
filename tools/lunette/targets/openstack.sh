#!/bin/sh
# {{name}} as an image of OpenStack, and a server of it: FLAVOR and NETWORK say which.
set -e
cd "$(dirname "$0")"
openstack image create --disk-format qcow2 --container-format bare --file {{disk}} \
    --property hw_disk_bus=virtio --property hw_vif_model=virtio {{name}}
openstack server create --image {{name}} --flavor "${FLAVOR:-m1.tiny}" --network "${NETWORK:-default}" {{name}}
