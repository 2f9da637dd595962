#!/bin/sh
# {{name}} on Firecracker.
?net # Its network card is on tap0: `ip tuntap add tap0 mode tap user $USER`, up, and on a bridge with a DHCP server.
cd "$(dirname "$0")" || exit
exec "${FIRECRACKER:-firecracker}" --no-api --config-file firecracker.json
