"""Where ``tasker_core`` is meant to differ from the published package, and why.

Patterns are those of :mod:`fnmatch`, for the names that ``surface.py`` and the
scripts of ``behaviour/`` give to what they see. A pattern that nothing needs
any more is reported by the tests.
"""

SURFACE = {
    # What there is more of.
    "tasker_core.testing*": "fixtures and helpers for tests of handlers",
    "tasker_core.bin*": "the server, which the published package has outside of it",
    "tasker_core.server*": "the server by its shorter name",
    "tasker_core.logging.receive_host_records": "records of the host for Python's logging",
    "tasker_core.domain_events.publish_domain_event": "events that no template declares",
    "tasker_core.domain_events.BaseSubscriber.business_payload": "what the envelope holds",
    "tasker_core.domain_events.InProcessDomainEventPoller.off_event": "start, stop, start again",
    "tasker_core.models.WorkflowStepWrapper.checkpoint": "the stored progress can be read here too",
    "tasker_core.models.WorkflowStepWrapper(...)": "takes the checkpoint, as its last field",
    "tasker_core.step_handler.functional._make_handler_class": "takes more, all of it optional",
    "tasker_core.*(all)": "modules that had no list of their names have one",
    # Types that say what the values are, which have not changed.
    "tasker_core.models.WorkflowStepWrapper.*_at": "a time is the text that the host sends",
    "tasker_core.models.WorkflowStepWrapper.*": "a null that the host sends is kept",
    "tasker_core.models.StepDefinitionWrapper.publishes_events": "declarations are objects",
    # The same to whoever uses them.
    "tasker_core.domain_events.DefaultPublisher.publisher_name": "the instance has it either way",
    "tasker_core.errors.error_classifier.ErrorClassifier.RETRYABLE_ERROR_CLASSES": (
        "IOError is OSError, which stands there once"
    ),
    "tasker_core.types.StepHandlerResult(config)": "both input names, by another way",
    # Answers of the host can be parsed.
    "tasker_core.types.ClientHealthResponse.*": "the host sends neither field",
    # What a module uses itself is no part of it, unless programs are known to put mocks there.
    "tasker_core.*.log_debug": "used inside only",
    "tasker_core.*.log_info": "used inside only",
    "tasker_core.*.log_warn": "used inside only",
    "tasker_core.batch_processing.batchable.*": "used inside only; they are of models and types",
    "tasker_core.step_execution_subscriber.StepHandler": "used inside only",
}

BEHAVIOUR = {
    "contexts: * wrapper/workflow_step/checkpoint": "the stored progress can be read here too",
    "contexts: wrapper */checkpoint": "the stored progress can be read here too",
    "batches: analyzer ranges without total *total_items": "the total follows from the ranges",
    "batches: analyzer of cursors/*total_items": "the total follows from the ranges",
    "batches: worker * none right*/items_succeeded": "none succeeded, and it says so",
    "domain: step event context with */namespace": "the namespace stands one level further out",
    "execution: error result/metadata/traceback": "an exception that was not raised",
    # The class of the exception is the same.
    "host: native */text": "texts of another native layer",
}
