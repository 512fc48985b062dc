namespace KeyVa.Histories;

/// <summary>One operation to do.</summary>
public readonly record struct RegisterRequest(RegisterAction Action, int Key, int? Expected, int? Value);

/// <summary>
/// One worker's operations, all from the seed and what the worker itself has seen: reads, writes, compare-and-sets
/// (mostly on what was last seen, now and then on nothing), removals, over a few hot keys. Every value is written once in the
/// whole history. Not thread-safe.
/// </summary>
public sealed class RegisterWorkload(int seed, int worker, int workers, int keys)
{
    private readonly Random _random = new(HashCode(seed, worker));
    private readonly Dictionary<int, int?> _seen = [];
    private int _values;

    /// <summary>The next operation.</summary>
    public RegisterRequest Next()
    {
        int key = _random.Next(keys);
        switch (_random.Next(20))
        {
            case < 8:
                return new RegisterRequest(RegisterAction.Read, key, null, null);
            case < 12:
                return new RegisterRequest(RegisterAction.Write, key, null, NextValue());
            case < 18:
                int? expected = _random.Next(6) == 0 ? null : _seen.GetValueOrDefault(key);
                int? value = expected is not null && _random.Next(6) == 0 ? null : NextValue();
                return new RegisterRequest(RegisterAction.CompareAndSet, key, expected, value);
            default:
                return new RegisterRequest(RegisterAction.Remove, key, null, null);
        }
    }

    /// <summary>What the operation's answer says about the register.</summary>
    public void Learn(in RegisterRequest request, in RegisterReply reply)
    {
        if (reply.Outcome == Outcome.Ok && (request.Action != RegisterAction.CompareAndSet || reply.Held == true))
        {
            _seen[request.Key] = request.Action == RegisterAction.Read ? reply.Value : request.Value;
        }
    }

    // Stable over runs and machines, unlike System.HashCode.
    internal static int HashCode(int seed, int worker) => unchecked((int)(((((uint)seed * 2654435761u) ^ ((uint)worker + 1)) * 2246822519u) >> 1));

    private int NextValue() => (_values++ * workers) + worker + 1;
}

/// <summary>Drives clients of registers through a workload and records it.</summary>
public static class RegisterRun
{
    /// <summary>
    /// Each client gets a thread and does <paramref name="operations"/> operations, or as many as it can until an outcome
    /// is unknown. Returns when all are done. The workloads go on where they were, so a run may be one round of several.
    /// </summary>
    public static void Threads(IReadOnlyList<IRegisterClient> clients, IReadOnlyList<RegisterWorkload> workloads, RegisterRecorder recorder, int operations) =>
        WorkerThreads.Run(clients.Count, worker =>
        {
            for (int i = 0; i < operations && Step(clients[worker], workloads[worker], recorder[worker]) != Outcome.Unknown; i++)
            {
            }
        });

    /// <summary>The workloads of all workers.</summary>
    public static RegisterWorkload[] Workloads(int seed, int workers, int keys) =>
        [.. Enumerable.Range(0, workers).Select(worker => new RegisterWorkload(seed, worker, workers, keys))];

    private static Outcome Step(IRegisterClient client, RegisterWorkload workload, RegisterLog log)
    {
        RegisterRequest request = workload.Next();
        ValueTask<RegisterReply> call;
        switch (request.Action)
        {
            case RegisterAction.Read:
                log.BeginRead(request.Key);
                call = client.ReadAsync(request.Key);
                break;
            case RegisterAction.Write:
                log.BeginWrite(request.Key, request.Value!.Value);
                call = client.WriteAsync(request.Key, request.Value.Value);
                break;
            case RegisterAction.CompareAndSet:
                log.BeginCompareAndSet(request.Key, request.Expected, request.Value);
                call = client.CompareAndSetAsync(request.Key, request.Expected, request.Value);
                break;
            default:
                log.BeginRemove(request.Key);
                call = client.RemoveAsync(request.Key);
                break;
        }

        RegisterReply reply = WorkerThreads.Wait(call);
        log.End(reply);
        workload.Learn(request, reply);
        return reply.Outcome;
    }
}
