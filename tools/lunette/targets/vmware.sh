#!/bin/sh
# {{name}} on ESXi or vCenter, by VMware's ovftool: ./deploy.sh vi://USER@HOST/
# On Workstation and Fusion: `tar xf {{disk}}`, and open lunette.vmx.
cd "$(dirname "$0")" || exit
exec ovftool --acceptAllEulas --name={{name}} --powerOn {{disk}} "$@"
