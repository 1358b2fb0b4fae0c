-- Uploads one JPEG again and again, each time with another number in a comment; says how long the answers took.
--   wrk --threads 1 --script uploads.lua http://HOST:PORT/v1/analyze -- FILE FIRST

local head, tail, number

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  local photograph = file:read("*a")
  file:close()
  -- The marker of a comment follows the one that begins the file; its length counts itself and twelve digits.
  head, tail = photograph:sub(1, 2) .. "\255\254\0\14", photograph:sub(3)
  number = tonumber(arguments[2])
end

function request()
  local body = head .. string.format("%012d", number) .. tail
  number = number + 1
  return wrk.format("POST", nil, nil, body)
end

function done(summary, latency)
  local taken, errors = {}, summary.errors
  for index = 1, #latency do
    taken[index] = string.format("[%d,%d]", latency(index))
  end
  local failed = errors.connect + errors.read + errors.write + errors.timeout
  print(string.format('{"calls": %d, "us": %d, "refused": %d, "failed": %d, "taken": [%s]}', summary.requests,
    summary.duration, errors.status, failed, table.concat(taken, ",")))
end
