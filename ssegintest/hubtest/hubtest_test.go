package hubtest_test

import (
	"testing"

	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/ssegintest"
	"github.com/ssegin/ssegin/ssegintest/hubtest"
)

// The shared log in memory is an engine like any other.
func TestHub(t *testing.T) {
	hubtest.TestHub(t, func(*testing.T) hubtest.Engine {
		log := ssegintest.NewLog()
		return hubtest.Engine{
			Open: func(*testing.T) eventlog.Log { return log },
			Restart: func(*testing.T) {
				log.Away(nil)
				log.Back()
			},
			Renew: func(*testing.T) { log.Renew() },
			Backup: func(t *testing.T) func() {
				saved, err := log.Bounds(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				return func() {
					now, err := log.Bounds(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					log.Rollback(int(now.Last - saved.Last))
				}
			},
		}
	})
}

// An engine need not be read by topic.
func TestHub_notReadByTopic(t *testing.T) {
	hubtest.TestHub(t, func(*testing.T) hubtest.Engine {
		log := ssegintest.NewLog()
		return hubtest.Engine{Open: func(*testing.T) eventlog.Log { return struct{ eventlog.Log }{log} }}
	})
}
