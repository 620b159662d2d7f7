package migration

import (
	"fmt"
	"path"
	"slices"
)

// steps is what is left to people, in an order without an outage
// (docs/migration.md).
func (b *builder) steps(p *Plan) []Step {
	old := "stunnel"
	if b.options.Stunnel == "" {
		old = "Redis's own TLS"
	}
	list := []Step{{What: "See whether the running Redis is what its file says.", Commands: []string{"redis-cli config get '*'"}}}
	if b.options.CommandStats == "" {
		list = append(list, Step{What: "See which commands are used: whether applications run scripts stands in no file. Import again with --commandstats used.txt.", Commands: []string{
			"redis-cli info commandstats > used.txt"}})
	}
	if !b.address.IsValid() || len(b.apps) == 0 || len(b.ssh) == 0 {
		list = append(list, Step{What: "Fill in deployment.yaml what no file told (or import again with --address, --app, --bastion): the packet filter is made from it."})
	}
	list = append(list,
		Step{What: fmt.Sprintf("On %s: the files of the folder %s go to /etc/redoubt; redis-server or valkey-server must be 7.0 or later.", p.Name, p.Name), Commands: []string{
			"redoubt pki init --deployment " + p.Deployment + " --dir /etc/redoubt/ca", "redoubt gateway"}},
		Step{What: fmt.Sprintf("Let application hosts reach port %d of %s; %s stays as it is.", b.listen.port, p.Name, old)},
		Step{What: "For each application host: make a token on " + p.Name + ", join with it on the host (sidecar.yaml goes to /etc/redoubt first, with the host's own name).", Commands: b.joining()},
	)
	if p.sidecar != "127.0.0.1:6379" && p.sidecar[0] != '/' { // a unix socket is the sidecar's own
		list = append(list, Step{What: "Where systemd starts the sidecar: its socket unit listens at 127.0.0.1:6379, and sidecar.yaml says " + p.sidecar + ". Say so to the socket, before it is started.", Commands: []string{
			"systemctl edit redoubt-sidecar.socket     # [Socket], then ListenStream= (empty), then ListenStream=" + p.sidecar}})
	}
	switch {
	case b.local != nil:
		list = append(list, Step{What: "Cut over host by host: stop its stunnel client and start the sidecar, which takes its place at " + p.sidecar + ". Applications connect again by themselves.", Commands: []string{"redoubt sidecar"}})
	case b.options.Stunnel == "":
		list = append(list, Step{What: "Cut over host by host: start the sidecar and give the application app.env: redis:// at " + p.sidecar + " in place of rediss:// at the cache host.", Commands: []string{"redoubt sidecar"}})
	default:
		list = append(list, Step{What: "Cut over host by host: start the sidecar in place of the stunnel client (listen in sidecar.yaml: where that one listened).", Commands: []string{"redoubt sidecar"}})
	}
	return append(list,
		Step{What: "Prove it, on " + p.Name + ", on an application host, and from a host that must not get in.", Commands: []string{
			"redoubt verify", "redoubt verify --env app.env", "redoubt verify --outside --deployment deployment.yaml --evidence reports/ --ca ca.crt --control HOST:PORT"}},
		Step{What: "When the last host has gone over: stop the old Redis and " + old + ", remove its snapshots, certificates and keys from every host, close its port, load the packet filter.", Commands: []string{
			"redoubt render nftables --deployment deployment.yaml --host " + p.Name}},
		Step{What: "Replace the password, which the old files and their backups still have.", Commands: []string{
			"redoubt secret rotate --digests /etc/redoubt/" + path.Base(p.digestsPath()) + " --overlap 24h --out app.env"}},
	)
}

// joining is a token for each application host, by the name that it will have.
func (b *builder) joining() (commands []string) {
	names := []string{b.options.ClientName}
	for _, app := range b.apps {
		if app.prefix.IsSingleIP() && !slices.Contains(names, app.name) {
			names = append(names, app.name)
		} else if !app.prefix.IsSingleIP() {
			names = append(names, app.name+"-1") // one host of the group
		}
	}
	for _, name := range names {
		commands = append(commands, "redoubt token create --dir /etc/redoubt/ca --name "+name+" --gateway "+b.options.Name+"="+b.gatewayAddress())
	}
	return append(commands, "redoubt join --token-file -")
}
