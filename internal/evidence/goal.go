package evidence

// A Goal is one of the six that everything in the product traces back to.
type Goal int

const (
	Environment     Goal = 1 + iota // the cache is reachable only from application hosts, ssh only from bastions
	Access                          // only the application, with a host certificate and a password
	InFlight                        // all traffic between hosts is in a mutually authenticated tunnel
	AtRest                          // cached data never reaches a disk
	NoChange                        // no client changes the configuration or loads code
	Documented                      // risks, decisions and evidence are written down, and true
	lastGoal        = Documented
	firstGoal       = Environment
	numberOfGoals   = int(lastGoal)
	unknownGoalText = "no goal"
)

// Goals are all of them, in order.
func Goals() []Goal {
	goals := make([]Goal, 0, numberOfGoals)
	for g := firstGoal; g <= lastGoal; g++ {
		goals = append(goals, g)
	}
	return goals
}

var goalTexts = [numberOfGoals]struct{ title, means string }{
	{"Secure the environment", "The cache is reachable over the network only from application hosts; ssh only from bastions."},
	{"Control access", "Only the application gets in, with the right credentials: a host certificate and a password. The application never sees the certificate."},
	{"Encrypt in flight", "All traffic between hosts goes through a mutually authenticated TLS tunnel."},
	{"Nothing at rest", "Cached data never reaches a disk, in any way, and the kernel enforces it."},
	{"No live configuration", "No client can change the cache's configuration, or load code into it, once it runs."},
	{"Documented decisions", "Anticipated risks, mitigations and evidence are generated from what is true."},
}

// Valid says whether it is one of the six.
func (g Goal) Valid() bool { return g >= firstGoal && g <= lastGoal }

// String is its title.
func (g Goal) String() string {
	if !g.Valid() {
		return unknownGoalText
	}
	return goalTexts[g-1].title
}

// Means is the goal in a sentence.
func (g Goal) Means() string {
	if !g.Valid() {
		return unknownGoalText
	}
	return goalTexts[g-1].means
}
