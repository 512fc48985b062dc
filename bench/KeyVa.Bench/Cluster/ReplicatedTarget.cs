using System.Diagnostics;
using System.Globalization;
using KeyVa.Bench.Front;

namespace KeyVa.Bench.Cluster;

/// <summary>Three nodes (or one) of a replicated store on loopback, and how they are asked.</summary>
internal abstract class ReplicatedTarget : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    /// <summary>Where the leader's data service is.</summary>
    public Uri Leader { get; private set; } = new("http://127.0.0.1");

    public abstract string PutPath { get; }

    public abstract string GetPath { get; }

    public abstract byte[] PutFrame(byte[] key, byte[] value);

    public abstract byte[] GetFrame(byte[] key);

    public abstract void Dispose();

    /// <summary>Waits until a node says that it leads.</summary>
    public async Task FindLeaderAsync()
    {
        long begun = Stopwatch.GetTimestamp();
        using UnaryLoad calls = new(clients: 1);
        while (Stopwatch.GetElapsedTime(begun) < Patience)
        {
            if (await TryFindLeaderAsync(calls) is { } leader)
            {
                Leader = leader;
                return;
            }

            await Task.Yield();
        }

        throw new InvalidOperationException($"{GetType().Name} had no leader after {Patience.TotalSeconds} s");
    }

    /// <summary>The data service of the node that leads; null if none says so.</summary>
    protected abstract Task<Uri?> TryFindLeaderAsync(UnaryLoad calls);

    /// <summary>An answer, or null if the node is not there (yet) or refuses.</summary>
    protected static async Task<byte[]?> AskAsync(UnaryLoad calls, Uri uri)
    {
        try
        {
            return (await calls.CallAsync(uri, UnaryLoad.Frame([]))).Message;
        }
        catch (HttpRequestException)
        {
            return null;
        }
    }

    protected static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);

    protected static int[] Ports(int count) => [.. Enumerable.Range(0, count).Select(static _ => ServerProcess.FreePort())];
}
