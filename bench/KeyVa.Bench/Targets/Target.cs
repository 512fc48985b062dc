namespace KeyVa.Bench.Targets;

/// <summary>
/// A store under measurement: opened on an empty folder, used by several threads at once, closed. The harness calls it
/// once per thread and loop, never per operation.
/// </summary>
internal abstract class Target
{
    public abstract string Name { get; }

    /// <summary>The settings, for the report.</summary>
    public abstract string Settings { get; }

    /// <summary>Why the target cannot run this with these options; null if it can.</summary>
    public abstract string? Refuses(Work work);

    /// <summary>Opens it. <paramref name="durability"/> is what a put waits for.</summary>
    public abstract void Open(string directory, Durability durability);

    /// <summary>Whether flushes or compactions run or wait, as far as the target says so.</summary>
    public virtual bool HasBackgroundWork => false;

    /// <summary>
    /// Writes what is in memory to the target's files, if it has any. Done before reads: how full the memtable happens to
    /// be would otherwise decide them, since it is searched first and has no filter.
    /// </summary>
    public virtual void Flush()
    {
    }

    /// <summary>Runs one thread's loop on the calling thread.</summary>
    public abstract void Run(Loop loop);

    public abstract void Close();
}

/// <summary>A target whose loops are compiled for its own session type.</summary>
internal abstract class Target<TSession> : Target
    where TSession : struct, ISession
{
    public sealed override void Run(Loop loop)
    {
        TSession session = NewSession();
        try
        {
            Loops<TSession>.Run(ref session, loop);
        }
        finally
        {
            session.Dispose();
        }
    }

    protected abstract TSession NewSession();
}
