namespace KeyVa.Server.Admission;

/// <summary>
/// A connection's place among those that a listener takes, held by whoever serves it. It is given back when that ends, or when that was
/// lost: of connections that break at a bad moment Kestrel may forget the one who serves them, whose end then never comes. Thread-safe.
/// </summary>
internal sealed class ConnectionSlot(ConnectionLimits limits, AddressEntry address) : IDisposable
{
    private int _isGiven;

    ~ConnectionSlot() => Give();

    public void Dispose()
    {
        Give();
        GC.SuppressFinalize(this);
    }

    private void Give()
    {
        if (Interlocked.Exchange(ref _isGiven, 1) == 0)
        {
            limits.Leave(address);
        }
    }
}
