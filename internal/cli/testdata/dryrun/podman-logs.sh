podman logs -f kwok-p-etcd
