package servers

// All servers, in the order of the tables. To add one, write a file that
// implements Server and add it here.
var All = []Entry{
	{
		Name: "floor-a", About: "a thread for each core: epoll, non-blocking write(2), one write an event",
		Limit: "It is one only for servers that give each event a write of its own.",
		Kind:  Floor, Quick: true, Tokens: true, Replays: true, New: newFloorA,
	},
	{
		Name: FloorA, About: "the same, one write for all that is due",
		Limit: "It should be one for every server.",
		Kind:  Floor, Quick: true, Batches: true, Tokens: true, Replays: true, New: newFloorACoalescing,
	},
	{
		Name: "floor-http", About: "net/http, a shared log, a cursor and a one-slot bell for each stream",
		Limit: "It is none for servers that do without net/http.",
		Kind:  Floor, Batches: true, Tokens: true, Replays: true, New: newFloorHTTP,
	},
	{
		Name: FloorC, About: "the same in Gin with c.Stream",
		Limit: "It is none for servers that do without Gin or net/http.",
		Kind:  Floor, Quick: true, Batches: true, Tokens: true, Replays: true, New: newFloorGin,
	},
	{
		Name: Default, About: "ssegin: Handler over a Hub, Middleware for tokens",
		Kind: Own, Quick: true, Batches: true, Tokens: true, Replays: true, New: newSsegin,
	},
	{
		Name: "ssegin-detached", About: "ssegin: the same with WithDetached",
		Kind: Own, Quick: true, Batches: true, Replays: true, New: newSseginDetached,
	},
	{
		Name: "r3labs", About: "r3labs/sse v2.10.0",
		Kind: Peer, Quick: true, Replays: true, New: newR3labs,
	},
	{
		Name: "tmaxmax", About: "tmaxmax/go-sse v0.12.0",
		Kind: Peer, Tokens: true, Replays: true, New: newTmaxmax,
	},
	{
		Name: "alexandrevicenzi", About: "alexandrevicenzi/go-sse v1.6.0",
		Kind: Peer, New: newAlexandrevicenzi,
	},
	{
		Name: "gin-example", About: "Gin: a channel for each client, as in its example; tokens by c.SSEvent alone",
		Kind: Peer, Tokens: true, New: newGinExample,
	},
	{
		Name: "centrifuge", About: "centrifugal/centrifuge v0.40.1, its SSE handler",
		Kind: Peer, Batches: true, New: newCentrifuge,
	},
	{
		Name: "centrifuge-delay", About: "centrifuge: the same with a WriteDelay and no limit to a frame",
		Kind: Peer, Batches: true, New: newCentrifugeDelay,
	},
	{
		Name: "nchan", About: "Nchan in nginx, a worker for each two cores, published to over HTTP",
		Kind: Peer, Replays: true, External: true, Missing: missingNchan, New: newNchan,
	},
	{
		Name: "better-sse", About: "better-sse v0.16.1 on Node, events encoded once",
		Kind: Peer, Batches: true, External: true, Missing: missingBetterSSE, New: newBetterSSE,
	},
}

// The servers that others are compared to: two floors, and ssegin as it comes.
const (
	FloorA  = "floor-a-coalescing"
	FloorC  = "floor-c"
	Default = "ssegin"
)
