#!/bin/sh
# {{name}} under Xen, with its console here. As root, in dom0.
cd "$(dirname "$0")" || exit
exec xl create -c xl.cfg
