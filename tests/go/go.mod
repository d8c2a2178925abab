module etcdgw.invalid/consumer

go 1.21
