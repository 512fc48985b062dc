using System.Runtime.ExceptionServices;

namespace KeyVa.Histories;

/// <summary>One thread per worker: real concurrency, and room for a client that blocks on a lock. Stateless.</summary>
internal static class WorkerThreads
{
    /// <summary>Runs all workers to their end; then throws what the first of them threw.</summary>
    public static void Run(int workers, Action<int> work)
    {
        ExceptionDispatchInfo? first = null;
        using Barrier start = new(workers);
        Thread[] threads = new Thread[workers];
        for (int i = 0; i < workers; i++)
        {
            int worker = i;
            threads[i] = new Thread(() =>
            {
                start.SignalAndWait();
                try
                {
                    work(worker);
                }
                catch (Exception exception)
                {
                    Interlocked.CompareExchange(ref first, ExceptionDispatchInfo.Capture(exception), null);
                }
            });
            threads[i].Start();
        }

        foreach (Thread thread in threads)
        {
            thread.Join();
        }

        first?.Throw();
    }

    /// <summary>The result of a call, waited for on this thread if need be.</summary>
    public static T Wait<T>(ValueTask<T> call) => call.IsCompletedSuccessfully ? call.Result : call.AsTask().GetAwaiter().GetResult();
}
