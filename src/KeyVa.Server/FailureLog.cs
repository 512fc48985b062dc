using Microsoft.Extensions.Logging;

namespace KeyVa.Server;

/// <summary>
/// Reports failures of the store that requests ran into: each once as an error, and again only for those who debug. A
/// damaged block that is read a thousand times a second must not fill the disk with log. Thread-safe.
/// </summary>
internal sealed partial class FailureLog(ILogger log)
{
    private const int MaxRemembered = 256;

    private readonly Lock _lock = new();
    private readonly HashSet<string> _seen = [];

    /// <summary>Reports a failure and the request that met it.</summary>
    public void Report(StoreException failure, string method, string target)
    {
        bool isNew;
        lock (_lock)
        {
            if (_seen.Count >= MaxRemembered)
            {
                _seen.Clear();
            }

            isNew = _seen.Add(failure.Message);
        }

        if (isNew)
        {
            LogFailure(failure, method, target);
        }
        else
        {
            LogRepeatedFailure(method, target, failure.Message);
        }
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "{Method} {Target} met a failure of the store")]
    private partial void LogFailure(Exception failure, string method, string target);

    [LoggerMessage(Level = LogLevel.Debug, Message = "{Method} {Target} met a known failure of the store: {Failure}")]
    private partial void LogRepeatedFailure(string method, string target, string failure);
}
