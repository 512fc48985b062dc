namespace KeyVa.Histories;

/// <summary>
/// How a client's operation ended. <see cref="Value"/>: what a read found (null: nothing). <see cref="Held"/>: whether a
/// compare-and-set took place, or a removal found something; null if the store does not say.
/// </summary>
public readonly record struct RegisterReply(Outcome Outcome, int? Value = null, bool? Held = null)
{
    public static RegisterReply Fail => new(Outcome.Fail);

    public static RegisterReply Unknown => new(Outcome.Unknown);
}

/// <summary>
/// One worker's way to the registers of a store; called by one worker at a time. Refusals that certainly changed nothing
/// are <see cref="Outcome.Fail"/>, failures that may have changed something <see cref="Outcome.Unknown"/>; anything thrown
/// is a bug of the test. A synchronous client returns completed tasks.
/// </summary>
public interface IRegisterClient
{
    ValueTask<RegisterReply> ReadAsync(int key);

    ValueTask<RegisterReply> WriteAsync(int key, int value);

    /// <summary>Writes <paramref name="value"/> (null: removes) if the register holds <paramref name="expected"/> (null: nothing).</summary>
    ValueTask<RegisterReply> CompareAndSetAsync(int key, int? expected, int? value);

    ValueTask<RegisterReply> RemoveAsync(int key);
}
