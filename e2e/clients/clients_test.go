package clients

// A client is one package, used in one way.
type client struct {
	name    string
	pkg     string // what it comes from, as npm and Go call it
	driver  string // what runs it: node, page, go, python
	dialect string // json if empty
	method  string // of its requests where it has the choice; GET if empty
	modes   []string
	plain   bool     // it takes each block for the application's
	advised []string // those in which it is used as docs/clients.md says, so that the laws hold
}

// says is the format of the client's events.
func (c *client) says() dialect {
	if c.dialect == "" {
		return dialects["json"]
	}
	return dialects[c.dialect]
}

var (
	everyMode = []string{byPost, withIDs, hubbed, plainly}
	getModes  = []string{withIDs, hubbed, plainly} // of clients that can only GET
	llmModes  = []string{byPost, plainly}          // of those that neither send nor keep IDs
)

var clients = []*client{
	{name: "openai 7", pkg: "openai", driver: "node", dialect: "openai", method: "POST", modes: llmModes, advised: llmModes},
	{name: "AI SDK useChat", pkg: "ai", driver: "node", dialect: "ai", method: "POST", modes: llmModes, advised: llmModes},
	{name: "eventsource 5", pkg: "eventsource", driver: "node", modes: getModes, advised: []string{withIDs, hubbed}},
	{name: "eventsource-client", pkg: "eventsource-client", driver: "node", modes: everyMode, plain: true},
	{name: "event-source-plus", pkg: "event-source-plus", driver: "node", modes: everyMode, plain: true},
}
