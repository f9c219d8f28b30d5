#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# One answer of a cloud's metadata service; QEMU starts it for each connection to 169.254.169.254:80.
# Like the real ones it wants the header (or the token) that keeps careless proxies out.
cloud=$1
IFS= read -r request
headers=
while IFS= read -r line; do
  line=$(printf %s "$line" | tr -d '\r')
  [ -n "$line" ] || break
  headers="$headers
$(printf %s "$line" | tr 'A-Z' 'a-z')"
done

answer() {
  printf 'HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s' "$1" "${#2}" "$2"
  exit 0
}
has() {
  printf %s "$headers" | grep -qxF "$1"
}

case "$cloud $request" in
  "aws PUT /latest/api/token "*)
    has "x-aws-ec2-metadata-token-ttl-seconds: 60" && answer "200 OK" "AQAEALabToken==" ;;
  "aws GET /latest/meta-data/instance-type "*)
    has "x-aws-ec2-metadata-token: aqaealabtoken==" && answer "200 OK" "t2.micro"
    answer "401 Unauthorized" "" ;;
  "gcp GET /computeMetadata/v1/instance/machine-type "*)
    has "metadata-flavor: google" && answer "200 OK" "projects/4711/machineTypes/n2-standard-4"
    answer "403 Forbidden" "" ;;
  "azure GET /metadata/instance/compute/vmSize?"*)
    has "metadata: true" && answer "200 OK" "Standard_B2s" ;;
esac
answer "404 Not Found" ""
