package config

import (
	"fmt"
	"net/netip"
	"slices"
)

// AWS is where a deployment's hosts are in an Amazon VPC.
type AWS struct {
	VPC     Sources  `yaml:"vpc" default:"[]" doc:"The VPC's network, as 10.77.0.0/16. Empty: there is none."`
	Subnets []Subnet `yaml:"subnets" default:"[]" doc:"Its private subnets, as {name: cache-a, network: 10.77.0.0/24, zone: eu-central-1a}. Cache hosts need subnets in which nobody else is, since a network ACL counts for a whole subnet."`
}

// Subnet is one network in one availability zone.
type Subnet struct {
	Name    string  `yaml:"name" doc:"Its name."`
	Network Sources `yaml:"network" default:"[]" doc:"Its CIDR."`
	Zone    string  `yaml:"zone" doc:"Its availability zone."`
}

// A block's length in a VPC, and the addresses at a subnet's beginning that are
// Amazon's, as the last one is (Amazon VPC User Guide, "Subnet CIDR blocks").
const (
	awsLargest, awsSmallest = 16, 28
	awsReserved             = 4
)

// checkAWS finds what Amazon would refuse, and what a network ACL couldn't tell
// apart. Without a VPC there is nothing to check.
func (c *Deployment) checkAWS() (problems []problem) {
	wrong := func(path, format string, args ...any) {
		problems = append(problems, problem{path: path, text: fmt.Sprintf(format, args...)})
	}
	if len(c.AWS.VPC) == 0 {
		if len(c.AWS.Subnets) > 0 {
			wrong("aws.vpc", "is missing: the network that the subnets are in")
		}
		return problems
	}
	block := func(path string, s Sources) bool {
		switch {
		case len(s) != 1:
			wrong(path, "must be one network")
		case !s[0].Addr().Is4() || s[0].Bits() < awsLargest || s[0].Bits() > awsSmallest:
			wrong(path, "is %s, must be IPv4, from a /%d to a /%d", s[0], awsLargest, awsSmallest)
		default:
			return true
		}
		return false
	}
	if !block("aws.vpc", c.AWS.VPC) {
		return problems
	}
	vpc := c.AWS.VPC[0]
	for i, s := range c.AWS.Subnets {
		at := fmt.Sprintf("aws.subnets[%d].", i)
		problems = append(problems, checkName(at+"name", s.Name)...)
		if s.Zone == "" {
			wrong(at+"zone", "is missing: the availability zone, such as eu-central-1a")
		}
		if !block(at+"network", s.Network) {
			continue
		}
		if network := s.Network[0]; !vpc.Contains(network.Addr()) || network.Bits() < vpc.Bits() {
			wrong(at+"network", "is %s, which is not in the VPC's %s", network, vpc)
		}
		for _, other := range c.AWS.Subnets[:i] {
			if other.Name == s.Name {
				wrong(at+"name", "is another subnet's too: %s", s.Name)
			}
			if len(other.Network) == 1 && other.Network[0].Overlaps(s.Network[0].Prefix) {
				wrong(at+"network", "overlaps %s's", other.Name)
			}
		}
	}
	if len(problems) > 0 {
		return problems
	}
	return c.checkPlaces()
}

// checkPlaces finds each cache host in a subnet of the cache hosts' own.
func (c *Deployment) checkPlaces() (problems []problem) {
	for i, g := range c.Gateways {
		at := fmt.Sprintf("gateways[%d].address", i)
		address, subnet, ok := c.Place(g)
		if !ok {
			problems = append(problems, problem{path: at, text: "needs just one IPv4 address in a subnet of aws.subnets"})
			continue
		}
		if reserved(subnet.Network[0].Prefix, address) {
			problems = append(problems, problem{path: at, text: fmt.Sprintf("is %s: the first four addresses and the last one of %s are Amazon's", address, subnet.Network[0])})
		}
		for _, other := range slices.Concat(c.others()...) {
			if other.Overlaps(subnet.Network[0].Prefix) {
				problems = append(problems, problem{path: at, text: fmt.Sprintf("is in subnet %s, where %s is too: cache hosts need a subnet of their own", subnet.Name, other)})
			}
		}
	}
	return problems
}

// others are the addresses and networks of whoever is no cache host.
func (c *Deployment) others() (all []Sources) {
	all = append(all, c.Bastions)
	for _, a := range c.Apps {
		all = append(all, a.Address, a.Network)
	}
	return all
}

// Place is a cache host's one address in the VPC, and the subnet that it is in.
func (c *Deployment) Place(g Gate) (address netip.Addr, subnet Subnet, ok bool) {
	for _, s := range c.AWS.Subnets {
		for _, a := range g.Address {
			if len(s.Network) == 1 && s.Network[0].Contains(a.Addr()) {
				if ok {
					return address, subnet, false
				}
				address, subnet, ok = a.Addr(), s, true
			}
		}
	}
	return address, subnet, ok
}

func reserved(network netip.Prefix, address netip.Addr) bool {
	for a, n := network.Addr(), 0; n < awsReserved; a, n = a.Next(), n+1 {
		if a == address {
			return true
		}
	}
	return !network.Contains(address.Next())
}
