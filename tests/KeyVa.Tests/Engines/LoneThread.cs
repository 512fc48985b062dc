using KeyVa.Engines;

namespace KeyVa.Tests.Engines;

/// <summary>
/// Until it is disposed, on the same thread, what this thread unlinks waits for no reader of another test: one that is not scheduled for a while would hold it up,
/// and the queue of what waits would grow.
/// </summary>
internal readonly ref struct LoneThread
{
    private LoneThread(bool isAlone) => Epochs.IsAlone = isAlone;

    public static LoneThread Begin() => new(isAlone: true);

    public void Dispose() => Epochs.IsAlone = false;
}
