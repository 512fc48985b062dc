namespace KeyVa.Histories;

/// <summary>Drives transactional clients through workloads and records what they do.</summary>
public static class ListRun
{
    /// <summary>
    /// Each client gets a thread and does <paramref name="transactions"/> transactions, or as many as it can until an
    /// outcome is unknown. Returns when all are done. The workloads go on where they were, so a run may be one round of several.
    /// </summary>
    public static void Threads(IReadOnlyList<ITransactionalClient> clients, IReadOnlyList<ListWorkload> workloads, ListRecorder recorder, int transactions) =>
        WorkerThreads.Run(clients.Count, worker =>
        {
            for (int i = 0; i < transactions; i++)
            {
                Steps steps = new(clients[worker], workloads[worker].Next(), recorder[worker]);
                while (steps.Next())
                {
                }

                if (steps.Outcome == Outcome.Unknown)
                {
                    return;
                }
            }
        });

    /// <summary>
    /// All clients on the caller's thread, one call at a time, the seed deciding whose: transactions interleave in every
    /// way, and the same seed gives the same history, if the store behind them is deterministic and never blocks. Goes on after unknown outcomes.
    /// </summary>
    public static void Interleaved(IReadOnlyList<ITransactionalClient> clients, IReadOnlyList<ListWorkload> workloads, ListRecorder recorder, int transactions, int seed)
    {
        Random random = new(seed);
        Steps?[] open = new Steps?[clients.Count];
        int begun = 0;
        int running = 0;
        while (begun < transactions || running > 0)
        {
            int worker = random.Next(clients.Count);
            if (open[worker] is null)
            {
                if (begun == transactions)
                {
                    continue;
                }

                open[worker] = new Steps(clients[worker], workloads[worker].Next(), recorder[worker]);
                begun++;
                running++;
            }

            if (!open[worker]!.Next())
            {
                open[worker] = null;
                running--;
            }
        }
    }

    /// <summary>Reads every list that the workloads used, one transaction each, through one client; those that abort are tried again.</summary>
    public static void FinalReads(ITransactionalClient client, IReadOnlyList<ListWorkload> workloads, ListRecorder recorder, int mostTries = 100)
    {
        foreach (ListRequest request in ListWorkload.FinalReads(workloads))
        {
            Outcome outcome = Outcome.Fail;
            for (int tries = 0; outcome != Outcome.Ok; tries++)
            {
                if (tries == mostTries)
                {
                    throw new InvalidOperationException($"the final read of list {request.Operations[0].Key} did not commit in {mostTries} tries");
                }

                Steps steps = new(client, request, recorder[0]);
                while (steps.Next())
                {
                }

                outcome = steps.Outcome;
            }
        }
    }

    /// <summary>One transaction, one call to the client at a time.</summary>
    private sealed class Steps(ITransactionalClient client, ListRequest request, ListLog log)
    {
        private int _next = -1;

        public Outcome Outcome { get; private set; }

        /// <summary>Makes the next call; false if it was the last.</summary>
        public bool Next()
        {
            if (_next < 0)
            {
                log.Begin();
                Outcome = WorkerThreads.Wait(client.BeginAsync());
            }
            else if (_next < request.Operations.Count)
            {
                Outcome = Do(request.Operations[_next]);
            }
            else
            {
                Outcome = WorkerThreads.Wait(request.GivesUp ? client.AbortAsync() : client.CommitAsync());
                // Given up is aborted, whatever a client that is asked for it answers, unless it does not know.
                Outcome = request.GivesUp && Outcome == Outcome.Ok ? Outcome.Fail : Outcome;
                log.End(Outcome);
                return false;
            }

            _next++;
            if (Outcome != Outcome.Ok)
            {
                log.End(Outcome);
                return false;
            }

            return true;
        }

        private Outcome Do(in ListOperation operation)
        {
            if (operation.IsAppend)
            {
                log.Append(operation.Key, operation.Value);
                return WorkerThreads.Wait(client.AppendAsync(operation.Key, operation.Value));
            }

            ListReply reply = WorkerThreads.Wait(client.ReadAsync(operation.Key));
            log.Read(operation.Key, reply.Outcome == Outcome.Ok ? reply.List : null);
            return reply.Outcome;
        }
    }
}
