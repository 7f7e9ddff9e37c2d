-- Requests in turn for wrk, and what came back in one line for run.py.
--
-- Arguments: a file with one request body in each line, a name of this run, the lengths of the shortest and the longest right
-- answer, a text that each right answer holds (or none), and then headers as NAME=VALUE. The token is in the variable
-- BENCH_TOKEN. A line with a tab in it is made another request each time: a text that was not there before is put in place of
-- the tab.

local threads = {}

function setup(thread)
    thread:set("thread_number", #threads)
    table.insert(threads, thread)
end

function init(args)
    local body_file, run_name = args[1], args[2]
    shortest_bytes, longest_bytes = tonumber(args[3]), tonumber(args[4])
    held_text = args[5]
    wrong_status_count, wrong_length_count, without_text_count, body_bytes = 0, 0, 0, 0

    wrk.method = "POST"
    wrk.headers["Content-Type"] = "application/json"
    wrk.headers["Authorization"] = "Bearer " .. os.getenv("BENCH_TOKEN")
    for place = 6, #args do
        local name, value = args[place]:match("^([^=]+)=(.*)$")
        wrk.headers[name] = value
    end

    -- What a request is made of; where there is a part after the tab, it is put together when it is sent.
    local parts = {}
    for body in io.lines(body_file) do
        local before, after = body:match("^(.*)\t(.*)$")
        table.insert(parts, after and { before = before, after = after } or { whole = wrk.format(nil, nil, nil, body) })
    end

    -- Each thread begins elsewhere, so that they do not all ask for the same thing.
    local sent = thread_number * math.floor(#parts / 2)
    request = function()
        local part = parts[sent % #parts + 1]
        sent = sent + 1
        if part.whole then
            return part.whole
        end
        return wrk.format(nil, nil, nil, part.before .. run_name .. "-" .. thread_number .. "-" .. sent .. part.after)
    end
end

function response(status, headers, body)
    if status ~= 200 then
        wrong_status_count = wrong_status_count + 1
    elseif #body < shortest_bytes or #body > longest_bytes then
        wrong_length_count = wrong_length_count + 1
    elseif not body:find(held_text, 1, true) then
        without_text_count = without_text_count + 1
    end
    body_bytes = body_bytes + #body
end

function done(summary, latency, requests)
    local function total(name)
        local sum = 0
        for _, thread in ipairs(threads) do
            sum = sum + thread:get(name)
        end
        return sum
    end
    local errors = summary.errors
    io.write(string.format(
        'RESULT {"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "body_bytes": %.0f, '
            .. '"wrong_status": %d, "wrong_length": %d, "without_text": %d, "lost": %d}\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
        total("body_bytes"), total("wrong_status_count"), total("wrong_length_count"), total("without_text_count"),
        errors.connect + errors.read + errors.write + errors.timeout))
end
