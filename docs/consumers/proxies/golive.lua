-- HAProxy asks the gate before each request: README.md shows the rules that call this action. GOLIVE_GATE is the
-- address of the control plane, HOST:PORT, with a host that is an IP address.
--
-- `http-request lua.golive` sets txn.golive to "passed" after a yes, and answers the client itself after a no. Should it
-- fail in any way, the variable is not set, and the rule after it denies.

local host, port = (os.getenv("GOLIVE_GATE") or ""):match("^%[?([%x.:]+)%]?:(%d+)$")
if not host then
    error("GOLIVE_GATE must be the IP address and port of the control plane, as in 127.0.0.1:8000")
end

-- The gate looks at nothing of the client's, so it gets nothing.
local REQUEST = "GET /gate/ HTTP/1.0\r\nHost: golive\r\n\r\n"
-- It answers within 3 seconds by itself, also when its database is away.
local TIMEOUT_SECONDS = 3
local MAX_HEADER_LINES = 100
local BODY = '{"type": "about:blank", "title": "Execution is not allowed", "status": 503, "code": "%s", "error": "%s", '
    .. '"execution_allowed": false}'

-- The status that the gate answers with, and its code: nil for what it does not say.
local function ask(gate)
    gate:settimeout(TIMEOUT_SECONDS)
    if not gate:connect(host, tonumber(port)) or not gate:send(REQUEST) then
        return nil
    end
    local status = (gate:receive("*l") or ""):match("^HTTP/1%.[01] (%d%d%d) ")
    for _ = 1, MAX_HEADER_LINES do
        local line = gate:receive("*l")
        if not line or line == "" or line == "\r" then
            return nil
        end
        local name, value = line:match("^([%w-]+):%s*([A-Z_]+)\r?$")
        if name and name:lower() == "x-golive-code" then
            return status, value
        end
    end
end

core.register_action("golive", { "http-req" }, function(txn)
    local gate = core.tcp()
    local status, code = ask(gate)
    gate:close()
    if status == "200" and code == "ALLOWED" then
        txn:set_var("txn.golive", "passed")
        return
    end
    if status ~= "403" or code == "ALLOWED" then
        code = "STATE_UNKNOWN"
    end
    local reply = txn:reply({ status = 503 })
    reply:add_header("Content-Type", "application/problem+json")
    reply:add_header("Retry-After", "1")
    reply:add_header("Cache-Control", "no-store")
    reply:add_header("X-GoLive-Code", code)
    reply:set_body(BODY:format(code, code))
    txn:done(reply)
end)
