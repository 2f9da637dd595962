#!/bin/sh
# {{name}} on Azure: ./create.sh GROUP ACCOUNT CONTAINER.
set -e
cd "$(dirname "$0")"
group=${1:?a resource group} account=${2:?a storage account} container=${3:?a container of it}
az storage blob upload --account-name "$account" -c "$container" -n {{disk}} -f {{disk}} --type page
az image create -g "$group" -n {{name}} --os-type Linux --hyper-v-generation V1 \
    --source "https://$account.blob.core.windows.net/$container/{{disk}}"
