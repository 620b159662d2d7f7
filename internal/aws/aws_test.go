package aws

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/firewall"
)

var update = flag.Bool("update", false, "write the golden file anew")

// clinic has two cache hosts in two zones, and peers in the VPC and outside.
func clinic() Network {
	p := netip.MustParsePrefix
	n := Network{Deployment: "clinic", VPC: p("10.77.0.0/16"), Subnets: []Subnet{
		{"cache-a", p("10.77.9.0/24"), "eu-central-1a"}, {"cache-b", p("10.77.10.0/24"), "eu-central-1b"}, {"apps", p("10.77.0.0/24"), "eu-central-1a"},
	}}
	for i, address := range []string{"10.77.9.20", "10.77.10.20"} {
		rules := firewall.Rules{
			Deployment: "clinic", Host: fmt.Sprintf("cache-%d", i+1), Cache: 6379, SSH: 22,
			Clients:  []netip.Prefix{p("10.77.0.13/32"), p("172.16.0.0/20"), p("fd77::/64"), p([]string{"10.77.10.20/32", "10.77.9.20/32"}[i])},
			Bastions: []netip.Prefix{p("10.77.0.9/32"), p("192.0.2.0/28")},
		}
		n.Gateways = append(n.Gateways, Gateway{n.Subnets[i].Name, netip.MustParseAddr(address), rules})
	}
	return n
}

func TestTerraform(t *testing.T) {
	const golden = "testdata/clinic.tf"
	text, err := clinic().Terraform()
	if err != nil {
		t.Fatal(err)
	}
	got, same := strings.CutSuffix(text, body)
	if !same {
		t.Error("what is the same in each deployment doesn't come last")
	}
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(golden); err != nil || got != string(want) {
		t.Errorf("%s differs (%v): look at the difference, then run go test ./internal/aws -update\n%s", golden, err, got)
	}
}

// TestQuotas: what Amazon would refuse half-way through an apply is refused here.
func TestQuotas(t *testing.T) {
	many, scattered := clinic(), clinic()
	for i := range 60 {
		many.Gateways[0].Rules.Clients = append(many.Gateways[0].Rules.Clients, netip.MustParsePrefix(fmt.Sprintf("10.77.0.%d/32", 20+i)))
	}
	if _, err := many.Terraform(); err == nil || !strings.Contains(err.Error(), "cache-1's security group would need 65 rules, and Amazon takes 60") {
		t.Error(err)
	}
	for i := range 10 {
		scattered.Gateways[1].Rules.Clients = append(scattered.Gateways[1].Rules.Clients, netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/24", 80+i)))
	}
	if _, err := scattered.Terraform(); err == nil || !strings.Contains(err.Error(), "the network ACL would need") {
		t.Error(err)
	}
}
