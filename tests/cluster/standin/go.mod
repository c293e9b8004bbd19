module loramill.dev/standin

go 1.24
