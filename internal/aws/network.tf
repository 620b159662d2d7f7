
# Everything below is the same in each deployment.

terraform {
  required_version = ">= 1.3"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "outbound" {
  description = "Networks that cache hosts reach over HTTPS, such as those of a package mirror or of VPC endpoints. None: they reach nobody but each other."
  type        = list(string)
  default     = []
}

variable "log_retention_days" {
  description = "How long refused packets stay in the log. HIPAA's documentation is kept six years (45 CFR 164.316(b)(2)(i))."
  type        = number
  default     = 2192
}

# On hardware that no other customer's instances share.
resource "aws_vpc" "this" {
  cidr_block           = local.vpc
  instance_tenancy     = "dedicated"
  enable_dns_support   = true
  enable_dns_hostnames = false
  tags                 = { Name = local.deployment }
}

# Private: nothing leads out of the VPC, and no instance has a public address.
resource "aws_default_route_table" "this" {
  default_route_table_id = aws_vpc.this.default_route_table_id
  route                  = []
  tags                   = { Name = "${local.deployment}-private" }
}

resource "aws_subnet" "this" {
  for_each                = local.subnets
  vpc_id                  = aws_vpc.this.id
  cidr_block              = each.value.network
  availability_zone       = each.value.zone
  map_public_ip_on_launch = false
  tags                    = { Name = "${local.deployment}-${each.key}" }
}

# Whoever names no security group gets this one, which lets nothing in or out.
resource "aws_default_security_group" "this" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = "${local.deployment}-nothing" }
}

# The cache hosts' subnets, seen coarsely: by subnet where a peer is in one. It has
# no memory of connections, hence the ports of the answers (RFC 6335 and the
# kernels' own habit: from 1024), and ICMP's "fragmentation needed" (RFC 1191).
resource "aws_network_acl" "cache" {
  vpc_id     = aws_vpc.this.id
  subnet_ids = [for name in local.cache_subnets : aws_subnet.this[name].id]

  dynamic "ingress" {
    for_each = concat(local.acl_in, [for network in var.outbound : { protocol = "tcp", network = network, from = 1024, to = 65535 }])
    content {
      rule_no    = 100 + ingress.key
      action     = "allow"
      protocol   = ingress.value.protocol
      cidr_block = ingress.value.network
      from_port  = ingress.value.from
      to_port    = ingress.value.to
      icmp_type  = ingress.value.protocol == "icmp" ? 3 : null
      icmp_code  = ingress.value.protocol == "icmp" ? 4 : null
    }
  }
  dynamic "egress" {
    for_each = concat(local.acl_out, [for network in var.outbound : { protocol = "tcp", network = network, from = 443, to = 443 }])
    content {
      rule_no    = 100 + egress.key
      action     = "allow"
      protocol   = egress.value.protocol
      cidr_block = egress.value.network
      from_port  = egress.value.from
      to_port    = egress.value.to
      icmp_type  = egress.value.protocol == "icmp" ? 3 : null
      icmp_code  = egress.value.protocol == "icmp" ? 4 : null
    }
  }
  tags = { Name = "${local.deployment}-cache" }
}

# What one cache host serves, exactly: its port for application hosts and its
# fellows, ssh for bastions.
resource "aws_security_group" "cache" {
  for_each    = local.gateways
  name        = "${local.deployment}-${each.key}"
  description = "Cache host ${each.key}: its port for application hosts, ssh for bastions"
  vpc_id      = aws_vpc.this.id

  ingress {
    description = "the cache, through its tunnel"
    protocol    = "tcp"
    from_port   = each.value.port
    to_port     = each.value.port
    cidr_blocks = each.value.clients
  }
  ingress {
    description = "ssh from bastions"
    protocol    = "tcp"
    from_port   = local.ssh_port
    to_port     = local.ssh_port
    cidr_blocks = local.bastions
  }
  dynamic "egress" {
    for_each = { for name, gateway in local.gateways : name => gateway if name != each.key }
    content {
      description = "certificates renewed at ${egress.key}"
      protocol    = "tcp"
      from_port   = egress.value.port
      to_port     = egress.value.port
      cidr_blocks = ["${egress.value.address}/32"]
    }
  }
  dynamic "egress" {
    for_each = length(var.outbound) > 0 ? [var.outbound] : []
    content {
      description = "HTTPS, as asked for"
      protocol    = "tcp"
      from_port   = 443
      to_port     = 443
      cidr_blocks = egress.value
    }
  }
  tags = { Name = "${local.deployment}-${each.key}" }
}

# For application hosts, beside a group of their own for what they serve.
resource "aws_security_group" "app" {
  name        = "${local.deployment}-app"
  description = "Application hosts: the caches, ssh from bastions"
  vpc_id      = aws_vpc.this.id

  ingress {
    description = "ssh from bastions"
    protocol    = "tcp"
    from_port   = local.ssh_port
    to_port     = local.ssh_port
    cidr_blocks = local.bastions
  }
  dynamic "egress" {
    for_each = local.gateways
    content {
      description = "the cache ${egress.key}, through its tunnel"
      protocol    = "tcp"
      from_port   = egress.value.port
      to_port     = egress.value.port
      cidr_blocks = ["${egress.value.address}/32"]
    }
  }
  tags = { Name = "${local.deployment}-app" }
}

# The address that deployment.yaml and the certificates know a cache host by. An
# instance takes it as its first network interface.
resource "aws_network_interface" "cache" {
  for_each          = local.gateways
  description       = "Cache host ${each.key} of ${local.deployment}"
  subnet_id         = aws_subnet.this[each.value.subnet].id
  private_ips       = [each.value.address]
  security_groups   = [aws_security_group.cache[each.key].id]
  source_dest_check = true
  tags              = { Name = "${local.deployment}-${each.key}" }
}

# What was refused: addresses, ports and counts, no contents.
resource "aws_cloudwatch_log_group" "refused" {
  name              = "/redoubt/${local.deployment}/refused"
  retention_in_days = var.log_retention_days
}

resource "aws_iam_role" "flow_log" {
  name = "${local.deployment}-flow-log"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "vpc-flow-logs.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "flow_log" {
  name = "write"
  role = aws_iam_role.flow_log.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
      Resource = "${aws_cloudwatch_log_group.refused.arn}:*"
    }]
  })
}

resource "aws_flow_log" "refused" {
  vpc_id          = aws_vpc.this.id
  traffic_type    = "REJECT"
  iam_role_arn    = aws_iam_role.flow_log.arn
  log_destination = aws_cloudwatch_log_group.refused.arn
}

output "cache_interfaces" {
  description = "The network interface of each cache host, for its instance."
  value       = { for name, interface in aws_network_interface.cache : name => interface.id }
}

output "subnets" {
  description = "The private subnets."
  value       = { for name, subnet in aws_subnet.this : name => subnet.id }
}

output "app_security_group" {
  description = "The security group of application hosts."
  value       = aws_security_group.app.id
}
