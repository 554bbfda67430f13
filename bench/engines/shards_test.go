package engines_test

import (
	"context"
	"fmt"
	"hash/fnv"

	"github.com/gin-gonic/gin"

	"github.com/ssegin/ssegin"
)

// What shards.md tells users to write.
func Example_shards() {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	topicsOf := func(c *gin.Context) ([]string, error) { return []string{c.Query("topic")}, nil }
	hubs := []*ssegin.Hub{ssegin.NewHub(), ssegin.NewHub()}

	shardOf := func(topic string) int {
		h := fnv.New32a()
		h.Write([]byte(topic))
		return int(h.Sum32() % uint32(len(hubs)))
	}
	for i, hub := range hubs {
		router.GET(fmt.Sprintf("/events/%d", i), ssegin.Handler(hub, ssegin.WithTopics(topicsOf)))
	}
	for _, topic := range []string{"room:1", "room:2", "room:3", "room:4"} {
		_, err := hubs[shardOf(topic)].Publish(context.Background(), topic, ssegin.Event{Data: "hello"})
		if err != nil {
			fmt.Println(err)
		}
	}
	for i, hub := range hubs {
		fmt.Println("shard", i, "has", hub.Stats().Published, "events")
	}
	// Output:
	// shard 0 has 2 events
	// shard 1 has 2 events
}
