package cli

import (
	"fmt"
	"io"

	"github.com/redoubt-cache/redoubt/internal/aws"
)

type renderTerraformCmd struct {
	Deployment string `default:"/etc/redoubt/deployment.yaml" placeholder:"FILE" help:"The deployment's hosts (${default}), with the key aws; docs/configuration.md has every key."`
}

func (renderTerraformCmd) Help() string {
	return `Prints the network of a deployment on AWS, from the same hosts as their packet filters: a VPC with dedicated tenancy, private subnets, a network ACL around the cache hosts, security groups, and a log of what was refused. Instances are yours; docs/aws.md shows one.

Example:

  redoubt render terraform --deployment deployment.yaml > redoubt.tf
  terraform init && terraform plan`
}

func (c *renderTerraformCmd) Run(e *env) error {
	d, err := loadDeployment(c.Deployment)
	if err != nil {
		return misconfigured(err)
	}
	if len(d.AWS.VPC) == 0 {
		return misconfigured(fmt.Errorf("%s: aws.vpc is missing: the VPC's network, with the subnets that the hosts are in (docs/aws.md)", c.Deployment))
	}
	network := aws.Network{Deployment: d.Deployment, VPC: d.AWS.VPC[0].Prefix}
	for _, s := range d.AWS.Subnets {
		network.Subnets = append(network.Subnets, aws.Subnet{Name: s.Name, Network: s.Network[0].Prefix, Zone: s.Zone})
	}
	for _, g := range d.Gateways {
		rules, err := firewallRules(d, g.Name)
		if err != nil {
			return err
		}
		address, subnet, _ := d.Place(g) // LoadDeployment has checked that there is one
		network.Gateways = append(network.Gateways, aws.Gateway{Subnet: subnet.Name, Address: address, Rules: rules})
	}
	text, err := network.Terraform()
	if err != nil {
		return misconfigured(fmt.Errorf("%s: %w", c.Deployment, err))
	}
	_, err = io.WriteString(e.stdout, text)
	return err
}
