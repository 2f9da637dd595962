#!/bin/sh
# {{name}} on ESXi or vCenter, by VMware's ovftool: ./deploy.sh vi://USER@HOST/
# Workstation and Fusion open {{disk}} themselves; lunette.vmx is for who wants to see what is in a VM, and says what it needs.
cd "$(dirname "$0")" || exit
exec ovftool --acceptAllEulas --name={{name}} --powerOn {{disk}} "$@"
