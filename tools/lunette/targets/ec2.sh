#!/bin/sh
# {{name}} as an AMI of Amazon EC2: ./create.sh BUCKET. The account needs the role vmimport.
set -e
cd "$(dirname "$0")"
bucket=${1:?the name of a bucket}
aws s3 cp {{disk}} "s3://$bucket/{{name}}.raw"
task=$(aws ec2 import-snapshot --disk-container "Format=RAW,UserBucket={S3Bucket=$bucket,S3Key={{name}}.raw}" \
    --query ImportTaskId --output text)
until snapshot=$(aws ec2 describe-import-snapshot-tasks --import-task-ids "$task" \
    --query 'ImportSnapshotTasks[0].SnapshotTaskDetail.SnapshotId' --output text) && [ "$snapshot" != None ]; do sleep 10; done
aws ec2 register-image --name {{name}} --architecture x86_64 --virtualization-type hvm --root-device-name /dev/xvda \
    --boot-mode uefi-preferred --block-device-mappings "DeviceName=/dev/xvda,Ebs={SnapshotId=$snapshot}"
