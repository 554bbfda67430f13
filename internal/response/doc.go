// Package response makes the response of a request that Gin serves fit for
// streaming. It knows blocks, write deadlines and the layers of a route, and
// nothing of hubs and logs: whose response it is, it knows as an [Owner].
package response
