package redislog

import (
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ssegin/ssegin/eventlog"
)

type said string

func (s said) Error() string { return string(s) }
func (said) RedisError()     {}

func TestJudge(t *testing.T) {
	for err, refused := range map[error]bool{
		said("NOPERM this user has no permissions to run the 'evalsha' command"):       true,
		said("NOPERM No permissions to access a key script: 1f, on @user_script:12."):  true,
		said("NOAUTH Authentication required."):                                        true,
		said("WRONGPASS invalid username-password pair or user is disabled."):          true,
		said("WRONGTYPE Operation against a key holding the wrong kind of value"):      true,
		said("ERR ACL failure in script: User hub has no permissions to run 'xadd'"):   true,
		said("ERR The user executing the script can't run this command or subcommand"): true,
		said("ERR unknown command 'evalsha', with args beginning with: "):              true,
		said("ERR Protocol error: invalid bulk length"):                                true,
		said("OOM command not allowed when used memory > 'maxmemory'."):                false,
		said("MISCONF Redis is configured to save RDB snapshots"):                      false,
		said("READONLY You can't write against a read only replica."):                  false,
		said("NOREPLICAS Not enough good replicas to write."):                          false,
		said("LOADING Redis is loading the dataset in memory"):                         false,
		said("CLUSTERDOWN The cluster is down"):                                        false,
		said("ERR value is not an integer or out of range"):                            false,
		errors.New("NOPERM is no word of Redis here"):                                  false,
		io.EOF: false,
	} {
		assert.Equal(t, refused, errors.Is(judge(err), eventlog.ErrRefused), err)
		assert.ErrorIs(t, judge(err), err)
	}
}
