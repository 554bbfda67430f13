vcl 4.1;

backend app {
	.host = "127.0.0.1";
	.port = "9000";
}

sub vcl_recv {
	if (req.http.Accept ~ "text/event-stream") {
		return (pipe);
	}
}

sub vcl_pipe {
	# One request for each connection, or those that follow are not looked at.
	set bereq.http.Connection = "close";
}
