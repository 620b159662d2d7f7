# The network of deployment clinic on AWS, printed by redoubt render terraform
# from deployment.yaml: change that file, not this one.

locals {
  deployment = "clinic"
  vpc        = "10.77.0.0/16"
  ssh_port   = 22
  bastions   = ["10.77.0.9/32", "192.0.2.0/28"]

  subnets = {
    "cache-a" = { network = "10.77.9.0/24", zone = "eu-central-1a" }
    "cache-b" = { network = "10.77.10.0/24", zone = "eu-central-1b" }
    "apps"    = { network = "10.77.0.0/24", zone = "eu-central-1a" }
  }

  gateways = {
    "cache-1" = { subnet = "cache-a", address = "10.77.9.20", port = 6379, clients = ["10.77.0.13/32", "10.77.10.20/32", "172.16.0.0/20"] }
    "cache-2" = { subnet = "cache-b", address = "10.77.10.20", port = 6379, clients = ["10.77.0.13/32", "10.77.9.20/32", "172.16.0.0/20"] }
  }

  cache_subnets = ["cache-a", "cache-b"]
  acl_in = [
    { protocol = "tcp", network = "10.77.0.0/24", from = 6379, to = 6379 },
    { protocol = "icmp", network = "10.77.0.0/24", from = 0, to = 0 },
    { protocol = "tcp", network = "172.16.0.0/20", from = 6379, to = 6379 },
    { protocol = "icmp", network = "172.16.0.0/20", from = 0, to = 0 },
    { protocol = "tcp", network = "10.77.10.0/24", from = 6379, to = 6379 },
    { protocol = "icmp", network = "10.77.10.0/24", from = 0, to = 0 },
    { protocol = "tcp", network = "10.77.9.0/24", from = 1024, to = 65535 },
    { protocol = "tcp", network = "10.77.0.0/24", from = 22, to = 22 },
    { protocol = "tcp", network = "192.0.2.0/28", from = 22, to = 22 },
    { protocol = "tcp", network = "10.77.9.0/24", from = 6379, to = 6379 },
    { protocol = "icmp", network = "10.77.9.0/24", from = 0, to = 0 },
    { protocol = "tcp", network = "10.77.10.0/24", from = 1024, to = 65535 },
  ]
  acl_out = [
    { protocol = "tcp", network = "10.77.0.0/24", from = 1024, to = 65535 },
    { protocol = "icmp", network = "10.77.0.0/24", from = 0, to = 0 },
    { protocol = "tcp", network = "172.16.0.0/20", from = 1024, to = 65535 },
    { protocol = "icmp", network = "172.16.0.0/20", from = 0, to = 0 },
    { protocol = "tcp", network = "10.77.10.0/24", from = 1024, to = 65535 },
    { protocol = "icmp", network = "10.77.10.0/24", from = 0, to = 0 },
    { protocol = "tcp", network = "10.77.9.0/24", from = 6379, to = 6379 },
    { protocol = "tcp", network = "192.0.2.0/28", from = 1024, to = 65535 },
    { protocol = "tcp", network = "10.77.9.0/24", from = 1024, to = 65535 },
    { protocol = "icmp", network = "10.77.9.0/24", from = 0, to = 0 },
    { protocol = "tcp", network = "10.77.10.0/24", from = 6379, to = 6379 },
  ]
}
