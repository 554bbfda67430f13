package servers

// All servers, in the order of the tables. To add one, write a file that
// implements Server and add it here.
var All = []Entry{
	{
		Name: FloorA, About: "a thread for each core: epoll, non-blocking write(2), one write an event",
		Kind: Floor, Quick: true, Tokens: true, Replays: true, New: newFloorA,
	},
	{
		Name: "floor-a-coalescing", About: "the same, one write for all that is due",
		Kind: Floor, Quick: true, Batches: true, Tokens: true, Replays: true, New: newFloorACoalescing,
	},
	{
		Name: "floor-http", About: "net/http, a shared log, a cursor and a one-slot bell for each stream",
		Kind: Floor, Batches: true, Tokens: true, Replays: true, New: newFloorHTTP,
	},
	{
		Name: FloorC, About: "the same in Gin with c.Stream",
		Kind: Floor, Quick: true, Batches: true, Tokens: true, Replays: true, New: newFloorGin,
	},
	{
		Name: "ssegin", About: "ssegin: Handler over a Hub, Middleware for tokens",
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
		Name: "gin-example", About: "a channel for each client, as in Gin's example",
		Kind: Peer, New: newGinExample,
	},
	{
		Name: "centrifuge", About: "centrifugal/centrifuge v0.40.1, its SSE handler",
		Kind: Peer, Batches: true, New: newCentrifuge,
	},
}

// The floors that ratios are given to.
const (
	FloorA = "floor-a"
	FloorC = "floor-c"
)
